"""One file a version, in order; a file that has been released is never changed."""
