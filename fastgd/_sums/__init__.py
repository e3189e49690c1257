"""Where a descent gets its sums: from reads of the data, or from moments collected in one."""
