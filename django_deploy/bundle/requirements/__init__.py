"""What is deployed where a file says it: REQUIREMENTS as a file, LOCK_FILE."""
