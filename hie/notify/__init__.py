"""Who is told of changes of identity: notices, their queue, and the ways they leave by."""
