package sessions

import "context"

// Missed are the messages of the session's feed that its client has not got, by the id
// of the last one that it has (Last-Event-ID), as far as they are kept. Questions among
// all that was written down are known to the client.
func (s *Session) Missed(ctx context.Context, last EventID) []Noted {
	var missed []Noted
	place := last.Place
	if last.Epoch != s.store.epoch {
		missed, place = s.elsewhere(ctx, last), 0
	}
	items, _ := s.feed.since(place)
	for _, item := range items {
		missed = append(missed, Noted{EventID{s.store.epoch, 0, item.Place}, item.Message})
	}
	return missed
}

// elsewhere are those messages that other processes wrote down.
func (s *Session) elsewhere(ctx context.Context, last EventID) (missed []Noted) {
	if !s.recorded() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	all, _, err := s.store.Records.journal.read(ctx, s.key, EventID{Stream: 0}, 0)
	if err != nil {
		return nil
	}
	for _, item := range all {
		s.knows(item.Message)
	}
	for _, item := range after(all, last) {
		if item.ID.Epoch != s.store.epoch {
			missed = append(missed, item)
		}
	}
	return missed
}

// Rest are the messages of an answer after an event, as another process wrote them
// down; over says that the response is the last of them. From is where to read on.
func (s *Session) Rest(ctx context.Context, last EventID, from uint64) (items []Noted, next uint64, over bool) {
	if !s.recorded() {
		return nil, from, false
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	all, next, err := s.store.Records.journal.read(ctx, s.key, last, from)
	if err != nil {
		return nil, from, false
	}
	for _, item := range after(all, last) {
		if len(item.Message) == 0 {
			return items, next, true
		}
		items = append(items, item)
	}
	return items, next, false
}

// after are the events that come after one. If that is not among them, they are those
// that cannot have come before it.
func after(all []Noted, last EventID) []Noted {
	for i := range all {
		if all[i].ID == last {
			return all[i+1:]
		}
	}
	var kept []Noted
	for _, item := range all {
		if item.ID.Epoch > last.Epoch || item.ID.Epoch == last.Epoch && item.ID.Place > last.Place {
			kept = append(kept, item)
		}
	}
	return kept
}

// Newest is the id of the last message that was written to the client, or of the place
// before the first.
func (s *Session) Newest() EventID {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	return EventID{s.store.epoch, 0, s.feed.taken}
}
