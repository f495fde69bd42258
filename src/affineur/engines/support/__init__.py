"""What the engines are made of: taggers, sessions, torch checkpoints; heavy libraries only in here."""
