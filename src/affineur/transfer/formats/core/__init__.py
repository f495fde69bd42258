"""What every format of labeled text is, and what several of them share."""
