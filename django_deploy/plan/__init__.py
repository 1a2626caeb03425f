"""What a deployment would change: computed before it changes anything, shown, compared, executed."""
