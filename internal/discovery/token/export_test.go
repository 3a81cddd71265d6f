package token

// ParseLocation reads what follows token://, and gives where the API is.
func ParseLocation(rest string, opts map[string]string, getenv func(string) string) (base, token string, err error) {
	at, err := parseLocation(rest)
	if err != nil {
		return "", "", err
	}
	u, err := baseURL(at, opts, getenv)
	if err != nil {
		return "", "", err
	}
	return u.String(), at.token, nil
}
