"""The descent: how a step is made, how long it is, and when it has arrived."""
