package sessions

import "context"

// peers let the replicas agree on the agent's session.
type peers struct{ *Session }

// Current is the agent's session that the others use, unless it is over.
func (p peers) Current(ctx context.Context, serves func(url string) bool, over string) (Place, bool) {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	rec, _, err := p.store.Records.get(ctx, p.key)
	if err != nil || !serves(rec.URL) || rec.Agent == "" || rec.Agent == over {
		return Place{}, false
	}
	return Place{rec.URL, rec.Agent}, true
}

// Places are the agent's sessions that the others have left, and the one that they use.
func (p peers) Places(ctx context.Context) []Place {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	rec, _, err := p.store.Records.get(ctx, p.key)
	if err != nil || rec.Agent == "" {
		return nil
	}
	return append(rec.Former, Place{rec.URL, rec.Agent})
}

// Agree offers a session of the agent's to the others, and tells which one all use.
func (p peers) Agree(ctx context.Context, serves func(url string) bool, at Place, over string) Place {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	rec, revision, err := p.store.Records.change(ctx, p.key, func(rec *record) {
		if !serves(rec.URL) || rec.Agent == "" || rec.Agent == over {
			if rec.Agent != over {
				rec.Former = moved(rec.Former, Place{rec.URL, rec.Agent}, at)
			}
			rec.URL, rec.Agent = at.URL, at.Session
		}
	})
	if err != nil {
		return at
	}
	p.markKept(revision)
	return Place{rec.URL, rec.Agent}
}
