package outcomes

// Failed reads a response in parts and says whether its call failed.
func Failed(parts ...[]byte) bool {
	var v verdict
	for _, part := range parts {
		v.look(part)
	}
	return v.failed()
}
