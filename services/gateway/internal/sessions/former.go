package sessions

import (
	"context"
	"slices"
	"sync"
)

// maxFormer bounds the places of a session before the one that it is at.
const maxFormer = 8

// A conversation that has moved to another version leaves a session behind at a server
// that may go on: calls that were under way end in it, what was asked in it is answered
// there, and it is ended with the client's.

// moved adds a place to former ones; the newest are kept.
func moved(former []Place, from, to Place) []Place {
	if from.URL == "" || from.Session == "" || from == to {
		return former
	}
	kept := append(slices.DeleteFunc(slices.Clone(former), func(p Place) bool { return p == from || p == to }), from)
	return kept[max(0, len(kept)-maxFormer):]
}

// placed is a place of the conversation, now or formerly, by its digest; ok is false when
// there is no such place any more.
func (u *Upstream) placed(ctx context.Context, digest string) (at Place, ok bool) {
	if at, ok = u.known(digest); ok {
		return at, u.there(at)
	}
	u.mu.Lock()
	peers := u.peers
	u.mu.Unlock()
	if peers == nil {
		return Place{}, false
	}
	u.remember(peers.Places(ctx))
	at, ok = u.known(digest)
	return at, ok && u.there(at)
}

func (u *Upstream) known(digest string) (at Place, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	places := append([]Place{{u.url, u.session}}, u.former...)
	i := slices.IndexFunc(places, func(p Place) bool { return p.URL != "" && p.digest() == digest })
	if i < 0 {
		return Place{}, false
	}
	return places[i], true
}

// remember notes former places that others know.
func (u *Upstream) remember(places []Place) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := Place{u.url, u.session}
	for _, p := range places {
		if p != now && p.Session != u.over {
			u.former = moved(u.former, p, now)
		}
	}
}

// there says whether a server of the app is at a place: the address may be another's by
// now.
func (u *Upstream) there(at Place) bool {
	u.mu.Lock()
	hears := u.hearing.stop != nil && u.hearing.in.url == at.URL
	u.mu.Unlock()
	return hears || u.table.Target(u.target).Serves(at.URL)
}

// endFormer tells servers that go on that the sessions which were left are over.
func (u *Upstream) endFormer(ctx context.Context) {
	u.mu.Lock()
	former, protocol := u.former, u.protocol
	u.mu.Unlock()
	var leaving sync.WaitGroup
	for _, at := range former {
		if u.there(at) {
			leaving.Go(func() { u.bye(ctx, call{at.URL, at.Session, protocol}) })
		}
	}
	leaving.Wait()
}
