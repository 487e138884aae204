"""Every message type, by subject. Import the subject you may see: the strategy sees `spot`, `signal`, `control`."""
