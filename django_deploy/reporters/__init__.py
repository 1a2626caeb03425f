"""Events made visible. Only what is here, and the commands, write to a stream."""
