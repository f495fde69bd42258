"""What every format of weights shares, and the registry of them."""
