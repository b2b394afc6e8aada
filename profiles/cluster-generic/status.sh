#!/bin/sh
# A job's state for Snakemake: running, success or failed.
#   status.sh pbs|sge|lsf|slurm JOB
# A scheduler that does not answer is no failed job: it is asked again. One that has forgotten how a job ended would be
# asked for ever: that stops the run.
scheduler=$1 job=$2

forgotten() { # what the scheduler said, what to change
  echo "$scheduler no longer knows how job $job ended ($1): $2; then unlock and run again" >&2
  exit 1
}

exited() { # the number of a job's end
  case $1 in
    0) echo success ;;
    *) echo failed ;;
  esac
}

case $scheduler in
  pbs)
    said=$(qstat -x -f "$job" 2>&1) # jobs that ended are history to PBS Pro and OpenPBS; to Torque, -x is another option
    case $said in
      *' job_state = '*) ;;
      *) said=$(qstat -f "$job" 2>&1) ;;
    esac
    case $(echo "$said" | sed -n 's/^ *job_state = //p') in
      F | C) exited "$(echo "$said" | sed -n 's/^ *[Ee]xit_status = //p')" ;;
      '')
        case $said in
          *'Unknown Job'*) forgotten "$said" "have job_history_enable (PBS) or keep_completed (Torque) set" ;;
          *) echo running ;;
        esac
        ;;
      *) echo running ;;
    esac
    ;;
  sge) # jobs that ended are only in its accounting, a while later
    if qstat -j "$job" >/dev/null 2>&1; then
      echo running
    else
      ended=$(qacct -j "$job" 2>/dev/null | sed -n 's/^\(failed\|exit_status\) *\([0-9]*\).*/\2/p' | tr -d '\n')
      case $ended in
        '') echo running ;;
        *) exited "$(echo "$ended" | sed 's/^0*$/0/')" ;;
      esac
    fi
    ;;
  lsf)
    said=$(bjobs -noheader -o stat "$job" 2>&1)
    case $said in
      DONE) echo success ;;
      EXIT) echo failed ;;
      *'is not found'*) forgotten "$said" "ask for a longer CLEAN_PERIOD" ;;
      *) echo running ;;
    esac
    ;;
  slurm)
    said=$(scontrol show job "$job" 2>&1)
    case $(echo "$said" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p') in
      COMPLETED) echo success ;;
      BOOT_FAIL | CANCELLED | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | TIMEOUT) echo failed ;;
      '')
        case $said in
          *'Invalid job id'*) forgotten "$said" "ask for a longer MinJobAge, or take profiles/slurm" ;;
          *) echo running ;;
        esac
        ;;
      *) echo running ;;
    esac
    ;;
  *)
    echo "status.sh knows pbs, sge, lsf and slurm, not '$scheduler'" >&2
    exit 1
    ;;
esac
