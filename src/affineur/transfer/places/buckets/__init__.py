"""What all S3 services share: how they are reached, read, written and what their errors mean."""
