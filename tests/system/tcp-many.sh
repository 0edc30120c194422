# A task with 1000 connections: how long it stands still is printed.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../visit.sh"
visit_start many
go B --address "$LAB_FLOAT/24"
echo "frozen for $(result .freeze_us) us with $(result .connections) connections"
visit_rounds 10
go A --address "$LAB_FLOAT/24"
echo "and back $(result .freeze_us) us with $(result .connections) connections"
visit_rounds 10
visit_finish
lab_end
