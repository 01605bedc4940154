package auth

// LookAtFilesAtOnce makes v look at its files at each use.
func LookAtFilesAtOnce(v *Verifier) {
	if v.tokens != nil {
		v.tokens.Every = 0
	}
	if v.jwt != nil && v.jwt.keys.file != nil {
		v.jwt.keys.file.Every = 0
	}
}
