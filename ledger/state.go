package ledger

import (
	"bytes"
	"context"
	"fmt"

	"github.com/kms-enclave/kms-enclave/store"
)

// state is the newest committed state that this tab knows.
type state struct {
	commit []byte // the stored commit record: the precondition of the next commit
	root   root
	index  index
	cache  map[store.Name]cached
	names  map[string][]string // ids by kind, as far as they have been read
}

type cached struct {
	fingerprint hash
	plain       []byte
}

// refresh reports whether the state is the newest; if not, it has been read again.
func (l *Ledger) refresh(ctx context.Context) (newest bool, err error) {
	commit, err := l.cfg.Store.Get(ctx, l.cfg.Vault, commitName)
	if err != nil {
		return false, err
	}
	if bytes.Equal(commit[0], l.state.commit) {
		return true, nil
	}
	return false, l.reload(ctx)
}

// reload reads the root record and what it authenticates anew. The root is read from
// one snapshot of the store and a page of the index from a later one; if another tab
// has committed between them, the page is of a newer root, and nothing is wrong.
func (l *Ledger) reload(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		next, err := l.readRoot(ctx)
		if err != nil {
			return err
		}
		damaged := checkAnchor(ctx, next, l.cfg.Anchor)
		if damaged == nil {
			l.state = next
			return nil
		}
		now, err := l.cfg.Store.Get(ctx, l.cfg.Vault, commitName)
		if err != nil {
			return err
		}
		if bytes.Equal(now[0], next.commit) {
			return damaged
		}
		if attempt == maxAttempts {
			return store.ErrConflict
		}
	}
}

// readRoot reads the root record, and what belongs to it.
func (l *Ledger) readRoot(ctx context.Context) (*state, error) {
	values, err := l.cfg.Store.Get(ctx, l.cfg.Vault, l.cfg.Anchor.Name, rootName, commitName)
	if err != nil {
		return nil, err
	}
	anchor, raw, commit := values[0], values[1], values[2]
	switch {
	case anchor == nil && raw == nil:
		return nil, ErrGone
	case anchor == nil || raw == nil:
		return nil, &IntegrityError{What: "root record: a part is missing"}
	case !bytes.Equal(anchor, EncodePlain(l.cfg.Anchor.Value)):
		return nil, ErrReplaced
	}
	parsed, err := l.openRoot(ctx, raw)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(commit, encodeCommit(l.cfg.Anchor, parsed.commit)) {
		return nil, &IntegrityError{What: fmt.Sprintf("root record: it is of commit %d, which is not the newest", parsed.commit)}
	}
	next := &state{commit: commit, root: *parsed, index: index{top: parsed.top, load: l.loadPage}, cache: map[store.Name]cached{}, names: map[string][]string{}}
	if old := l.state; old != nil {
		if parsed.commit < old.root.commit {
			return nil, &IntegrityError{What: fmt.Sprintf("root record: commit %d after %d was seen", parsed.commit, old.root.commit)}
		}
		adopt(next.index.top, old.index.top)
		next.cache = old.cache
	}
	return next, nil
}

// openRoot opens and parses a stored root record.
func (l *Ledger) openRoot(ctx context.Context, stored []byte) (*root, error) {
	opened, err := l.openAll(ctx, []store.Record{{Name: rootName, Value: stored}})
	if err != nil {
		return nil, err
	}
	parsed, err := parseRoot(opened[0])
	if err != nil {
		return nil, &IntegrityError{What: fmt.Sprintf("root record (%v)", err)}
	}
	return parsed, nil
}

// checkAnchor makes sure that the root belongs to the anchor it was found beside.
func checkAnchor(ctx context.Context, s *state, anchor store.Record) error {
	fingerprint, found, err := s.index.get(ctx, indexKey(anchor.Name))
	if err != nil {
		return err
	}
	if !found || fingerprint != plainFingerprint(anchor.Value) {
		return &IntegrityError{What: describe(anchor.Name)}
	}
	return nil
}

func (l *Ledger) loadPage(ctx context.Context, prefix string) ([]byte, error) {
	values, err := l.cfg.Store.Get(ctx, l.cfg.Vault, store.Name{Kind: KindIndex, ID: prefix})
	if err != nil {
		return nil, err
	}
	return decodePage(prefix, values[0])
}

func decodePage(prefix string, stored []byte) ([]byte, error) {
	page, err := DecodePlain(stored)
	if err != nil {
		return nil, &IntegrityError{What: "index page " + prefix}
	}
	return page, nil
}
