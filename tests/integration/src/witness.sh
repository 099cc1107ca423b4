#!/bin/sh
# witness.sh LOG COMMAND...: runs a command between a start and an end line in LOG, with CLOCK_BOOTTIME.
# If a process of an earlier attempt of this task still lives, an overlap line says so. Each line is one write to a file
# opened for appending.
log=$1
shift
say() {
    read -r up rest </proc/uptime
    echo "$1 $PENSTOCK_RUN_ID $PENSTOCK_TASK_ID $PENSTOCK_ATTEMPT $PENSTOCK_FENCE $$ $up $2" >>"$log"
}
say start -
if [ "$PENSTOCK_ATTEMPT" -gt 1 ]; then
    grep "^start $PENSTOCK_RUN_ID $PENSTOCK_TASK_ID " "$log" | while read -r kind run task attempt fence rest; do
        if [ "$fence" != "$PENSTOCK_FENCE" ]; then
            for alive in $(grep -lsz "^PENSTOCK_FENCE=$fence\$" /proc/[0-9]*/environ); do
                if grep -qsz "^PENSTOCK_RUN_ID=$run\$" "$alive"; then
                    say overlap "$fence"
                fi
            done
        fi
    done
fi
"$@"
code=$?
say end "$code"
exit "$code"
