#!/bin/sh
# A job's state for Snakemake: running, success or failed. By whichever scheduler's commands are here.
# A scheduler that does not answer is no failed job: it is asked again.
job=$1

if command -v scontrol >/dev/null; then # Slurm
  state=$(scontrol show job "$job" 2>/dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p')
  case $state in
    COMPLETED) echo success ;;
    BOOT_FAIL | CANCELLED | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | TIMEOUT) echo failed ;;
    *) echo running ;;
  esac
elif command -v bjobs >/dev/null; then # LSF
  case $(bjobs -noheader -o stat "$job" 2>/dev/null) in
    DONE) echo success ;;
    EXIT) echo failed ;;
    *) echo running ;;
  esac
elif command -v qacct >/dev/null; then # Grid Engine: jobs that ended are only in its accounting
  if qstat -j "$job" >/dev/null 2>&1; then
    echo running
  else
    ended=$(qacct -j "$job" 2>/dev/null)
    case $(echo "$ended" | sed -n 's/^failed *\([0-9]*\).*/\1/p')$(echo "$ended" | sed -n 's/^exit_status *\([0-9]*\).*/\1/p') in
      00) echo success ;;
      '') echo running ;; # not written down yet
      *) echo failed ;;
    esac
  fi
else # PBS
  ended=$(qstat -x -f "$job" 2>/dev/null)
  case $(echo "$ended" | sed -n 's/^ *job_state = //p') in
    F | C)
      case $(echo "$ended" | sed -n 's/^ *\(Exit_status\|exit_status\) = //p') in
        0) echo success ;;
        *) echo failed ;;
      esac
      ;;
    *) echo running ;;
  esac
fi
