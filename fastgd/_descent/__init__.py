"""The descent: in which loop, how long a step is, and when it has arrived."""
