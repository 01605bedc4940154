#compdef pulsectl
# Completes pulsectl in zsh: save it as _pulsectl in a folder of $fpath, or, behind
# compinit: source <(pulsectl completion zsh)

_pulsectl() {
	local line word text
	local -a found
	for line in "${(@f)$("${(Q)words[1]}" __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
		word=${line%%$'\t'*}
		text=${line#*$'\t'}
		case $word in
		'') ;;
		:files) _files; return ;;
		:folders) _files -/; return ;;
		*) found+=("${word//:/\\:}${text:+:$text}") ;;
		esac
	done
	_describe 'pulsectl' found
}

if [[ ${funcstack[1]} == _pulsectl ]]; then
	_pulsectl "$@"
else
	compdef _pulsectl pulsectl
fi
