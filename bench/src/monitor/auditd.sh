# auditd.sh AUDITD DIR WATCHED: one rule for what is below WATCHED; the log goes to DIR.
auditctl -s | grep -q '^enabled 0' || { echo "somebody audits already" >&2; exit 1; }
[ "$(auditctl -l)" = "No rules" ] || { echo "there are audit rules already" >&2; exit 1; }
mkdir "$2/plugins"
cat >"$2/auditd.conf" <<END
local_events = yes
write_logs = yes
log_file = $2/audit.log
log_format = RAW
flush = NONE
num_logs = 0
max_log_file = 0
max_log_file_action = IGNORE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
name_format = NONE
priority_boost = 4
q_depth = 2000
plugin_dir = $2/plugins
END
# Where the backlog is full processes wait: nothing is lost.
auditctl -b 65536 >/dev/null
auditctl -r 0 >/dev/null
auditctl -a always,exit -F dir="$3" -F perm=wa >/dev/null
exec "$1" -n -s enable -c "$2" >/dev/null
