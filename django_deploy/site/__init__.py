"""What runs inside the deployed site; imports Django and the standard library only."""
