# bash completion for cor(1) and cord(8)

_cor_sessions()
{
	# shellcheck disable=SC2086  # both words of --control PATH, or none
	cor $1 ps --json 2>/dev/null |
		grep -o '"id":"[0-9a-f]*"' | cut -d'"' -f4 | cut -c1-8 | sort -u
}

_cor()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command='' control='' i words=''

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-c|--control) control="--control ${COMP_WORDS[i + 1]}"; i=$((i + 1)) ;;
		-*) ;;
		*) command=${COMP_WORDS[i]}; break ;;
		esac
	done
	case $prev in
	-c|--control) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	--wait) mapfile -t COMPREPLY < <(compgen -W 'resumed drained' -- "$cur"); return ;;
	esac
	case $command in
	'') words='migrate ps status cancel resolve settle run check --control --help --version' ;;
	migrate)
		words='--wait --no-prefetch --transport --without --address --attempts --json --control --help'
		[[ $prev = migrate ]] && words+=" $(cd /proc && echo [0-9]*)" ;;
	resolve) words="--peer-is-dead --json --control --help $(_cor_sessions "$control")" ;;
	ps|status|cancel) words="--json --control --help $(_cor_sessions "$control")" ;;
	check) words='--json --help' ;;
	run) mapfile -t COMPREPLY < <(compgen -c -- "$cur"); return ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

_cord()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}

	case $prev in
	--control|--config|--state-dir)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	*)
		mapfile -t COMPREPLY < <(compgen -W '--name --listen --control --config
			--state-dir --insecure --verbose --version --help' -- "$cur") ;;
	esac
}

complete -F _cor cor
complete -F _cord cord
