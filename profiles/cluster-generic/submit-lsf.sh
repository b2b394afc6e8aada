#!/bin/sh
# bsub says "Job <17> is submitted to queue <normal>."; Snakemake wants the 17.
said=$(bsub "$@") || exit
echo "$said" | sed -n 's/^Job <\([0-9]*\)>.*/\1/p'
