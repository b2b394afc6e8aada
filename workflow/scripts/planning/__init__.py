"""What the Snakefile asks before any job: the plan of every study, and which modules a script depends on."""
