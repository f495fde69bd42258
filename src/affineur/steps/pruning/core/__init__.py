"""What every pruning method shares: ranking, quotas, the record of what was done."""
