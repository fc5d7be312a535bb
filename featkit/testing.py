"""For those who test with featkit: a store in memory, a clock, the contract of stores."""
