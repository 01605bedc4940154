# Completes pulsectl in bash: source <(pulsectl completion bash)

_pulsectl() {
	local words=() word line cut=
	# Bash may have taken --flag=value apart.
	for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
		if ((${#words[@]} > 0)) && [[ $word == "=" || ${words[-1]} == -*= ]]; then
			words[-1]+=$word
		else
			words+=("$word")
		fi
	done
	if [[ ${words[-1]} == -*=* && $COMP_WORDBREAKS == *=* ]]; then
		cut=${words[-1]%%=*}=
	fi
	COMPREPLY=()
	while IFS=$'\t' read -r word _; do
		case $word in
		:files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "${words[-1]#"$cut"}") ;;
		:folders) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "${words[-1]#"$cut"}") ;;
		*) COMPREPLY+=("${word#"$cut"}") ;;
		esac
	done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
}

complete -F _pulsectl pulsectl
