package sessions

import "context"

// peers let the replicas agree on the agent's session.
type peers struct{ *Session }

// Current is the agent's session there that the others use, unless it is over.
func (p peers) Current(ctx context.Context, url, over string) string {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	rec, _, err := p.store.Records.get(ctx, p.key)
	if err != nil || rec.URL != url || rec.Agent == over {
		return ""
	}
	return rec.Agent
}

// Agree offers a session of the agent's to the others, and tells which one all use.
func (p peers) Agree(ctx context.Context, url, session, over string) string {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	rec, revision, err := p.store.Records.change(ctx, p.key, func(rec *record) {
		if rec.URL != url || rec.Agent == "" || rec.Agent == over {
			rec.URL, rec.Agent = url, session
		}
	})
	if err != nil {
		return session
	}
	p.markKept(revision)
	return rec.Agent
}
