# cases
# Servers of many kinds while they are asked without pause, there and back twice with their
# address: no answer is wrong, no connection breaks.
if [ "${1:-}" = --cases ]; then
	printf '%s\n' haproxy mariadb mosquitto nginx unbound
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"
need python3 ss "$1"
dir=
asker=()        # what tests/programs/asker.py is to ask

config()
{
	cat >"$dir/conf"
}

# Each makes what it needs in $dir, and its server on A.
begin_haproxy()
{
	spawn C web python3 -m http.server 8001 --bind "${LAB_ADDR[C]}" --directory "$dir"
	config <<-EOF
		global
			nbthread 3
		defaults
			mode http
			timeout connect 10s
			timeout client 30s
			timeout server 30s
		frontend here
			bind $LAB_FLOAT:8000
			default_backend there
		backend there
			server web ${LAB_ADDR[C]}:8001
	EOF
	spawn A server haproxy -db -f "$dir/conf"
	asker=(http "$LAB_FLOAT" 8000 "$dir/content")
}

begin_nginx()
{
	config <<-EOF
		daemon off; master_process off; pid $dir/pid; error_log stderr; user root;
		events { use epoll; }
		http {
			access_log $dir/log; sendfile on; client_body_temp_path $dir/body;
			proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fastcgi;
			uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;
			server { listen $LAB_FLOAT:8000; root $dir; }
		}
	EOF
	spawn A server nginx -c "$dir/conf"
	asker=(http "$LAB_FLOAT" 8000 "$dir/content")
}

begin_mosquitto()
{
	need mosquitto_sub mosquitto_pub
	config <<-EOF
		listener 1883 $LAB_FLOAT
		allow_anonymous true
		persistence true
		persistence_location $dir/
		log_dest file $dir/log
		user root
	EOF
	spawn A server mosquitto -c "$dir/conf"
	asker=(mqtt "$LAB_FLOAT" 1883)
}

begin_unbound()
{
	config <<-EOF
		server:
			interface: $LAB_FLOAT
			port: 5300
			access-control: 0.0.0.0/0 allow
			do-daemonize: no
			chroot: ""
			username: ""
			pidfile: $dir/pid
			use-syslog: no
			num-threads: 2
			local-zone: "example.com." static
			local-data: "a.example.com. A 192.0.2.7"
	EOF
	spawn A server unbound -d -c "$dir/conf"
	asker=(dns "$LAB_FLOAT" 5300)
}

# io_uring is not carried, so it is told to do without.
begin_mariadb()
{
	/usr/bin/python3 -c 'import pymysql' 2>/dev/null || skip "python3-pymysql is not installed"
	mariadb-install-db --no-defaults --datadir="$dir/db" --user=root \
		--auth-root-authentication-method=normal >"$dir/log" 2>&1 || fail "$(tail -n 5 "$dir/log")"
	spawn A server mariadbd --no-defaults --user=root --datadir="$dir/db" --skip-name-resolve \
		--socket=/run/mariadb --bind-address="$LAB_FLOAT" --port=3306 \
		--innodb-buffer-pool-size=64M --innodb-use-native-aio=0
	wait_for 60 listens 3306 || fail "$(tail "$LAB_DIR/A/server.err")"
	on A mariadb -u root -S /run/mariadb -e "create user 'u'@'%'; grant all on *.* to 'u'@'%';
		create database d; create table d.t (i int primary key, v varchar(200)) engine=innodb"
	asker=(sql "$LAB_FLOAT" 3306)
}

listens()
{
	on A ss -Hltun "sport = :$1" | grep -q .
}

lab_up A B C
lab_float A
dir=$LAB_DIR/A/files
mkdir "$dir"
chmod 777 "$dir"
head -c 1000000 /dev/urandom >"$dir/content"
begin_"$1"
pid=$SPAWNED
wait_for 30 listens "${asker[2]}" || fail "it does not listen: $(tail "$LAB_DIR/A/server.err")"
start_foreign C asker /usr/bin/python3 "$LAB_TOP/tests/programs/asker.py" "${asker[@]}"
rounds 20
for to in B A B A; do
	[ $to = B ] && from=A || from=B
	move $from "$pid" $to --address "$LAB_FLOAT/24"
	pid=$MOVED
	echo "to $to: frozen for $(result .freeze_us) us, $(result '.connections') connections"
	rounds 20
done
finish
on A kill -TERM "$pid"
wait_for 30 gone A "$pid" || fail "it does not end"
[ "$1" != haproxy ] || on C pkill -KILL -f http.server
lab_end
