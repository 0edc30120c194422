# timeout: 180
# redis-server of 512 MiB (32 on an emulated machine): the same digest, and it serves on the other host.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../servers.sh"
need redis-server redis-cli
lab_up
redis_start A || fail "redis-server does not answer"
pid=$SPAWNED
redis_fill A $((${COR_TIME_SCALE:-1} > 1 ? 32 : 512))
digest=$(redis A DEBUG DIGEST)
move A "$pid" B
pid=$MOVED
[ "$(redis B SET moved there)" = OK ] || fail "redis does not serve on B"
[ "$(redis B DEL moved)" = 1 ] || fail "redis forgot a key"
[ "$(redis B DEBUG DIGEST)" = "$digest" ] || fail "another digest on B"
move B "$pid" A
pid=$MOVED
[ "$(redis A DEBUG DIGEST)" = "$digest" ] || fail "another digest on A"
redis A SHUTDOWN NOSAVE || :
wait_for 10 gone A "$pid" || fail "redis does not end"
lab_end
