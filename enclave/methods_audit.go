package enclave

import (
	"errors"
	"strconv"
	"strings"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/ledger"
)

// maxPage bounds the leaves of one reply in bytes. A leaf holds no control
// characters, so JSON text at most doubles it, and twice this and one leaf is well
// below api.MaxMessage.
const maxPage = 256 << 10

// fitting returns as many of the leaves, from the first, as one reply has room
// for: one at least, so that whoever pages through the log gets to its end.
func fitting(leaves [][]byte) [][]byte {
	size := 0
	for i := range leaves {
		if size += len(leaves[i]); size > maxPage && i > 0 {
			return leaves[:i]
		}
	}
	return leaves
}

// auditHead needs no unlocked vault: the ledger key works while it is locked.
func auditHead(c *call, _ *api.None) (out outcome, err error) {
	if c.vault, err = c.vaults.Current(c.ctx); err != nil {
		return out, err
	}
	size, root, err := c.head()
	if err != nil {
		return outcome{}, err
	}
	checkpoint, err := c.vault.Checkpoint(c.ctx, size, root)
	return outcome{Result: api.Head{Size: size, Root: root[:], Checkpoint: checkpoint}}, err
}

func (c *call) head() (size uint64, root [32]byte, err error) {
	err = c.vault.Ledger.Read(c.ctx, func(tx *ledger.Tx) error {
		size, root = tx.Size(), tx.Head()
		return nil
	})
	if err != nil {
		return 0, [32]byte{}, err // they may be about to be written
	}
	return size, root, nil
}

// auditConsistent proves that the log continues the one that an earlier call saw: the
// leaves since then are appended to the hashes that were known then, which has to give
// today's head. It reads no leaf from before, and needs no unlocked vault.
func auditConsistent(c *call, p *api.ConsistentParams) (out outcome, err error) {
	var then audit.Frontier
	if len(p.Since) > 0 {
		if then, err = audit.ParseFrontier(p.Since); err != nil {
			return out, invalid("/params/since", "not what an earlier call returned")
		}
	}
	if c.vault, err = c.vaults.Current(c.ctx); err != nil {
		return out, err
	}
	var now audit.Frontier
	err = c.vault.Ledger.Read(c.ctx, func(tx *ledger.Tx) error {
		now = tx.Frontier()
		return nil
	})
	if err != nil {
		return out, err
	}
	result := api.Consistency{Earlier: then.Size(), Size: now.Size(), Since: now.AppendBinary(nil)}
	if then.Size() > now.Size() {
		result.Reason = api.TakenBack
		return outcome{Result: result}, nil
	}
	for leaf, err := range c.vault.Ledger.Leaves(c.ctx, then.Size(), now.Size()) {
		if err != nil {
			return out, err
		}
		then.Append(audit.LeafHash(leaf))
	}
	if result.Consistent = then.Root() == now.Root(); !result.Consistent {
		result.Reason = api.Replaced
	}
	return outcome{Result: result}, nil
}

func auditEntries(c *call, p *api.EntriesParams) (outcome, error) {
	limit := p.Limit
	if limit == 0 {
		limit = 100
	}
	var leaves [][]byte
	var size uint64
	err := c.vault.Ledger.Read(c.ctx, func(tx *ledger.Tx) (err error) {
		size = tx.Size()
		leaves, err = tx.Log(p.From, limit)
		return err
	})
	if err != nil {
		return outcome{}, err
	}
	leaves = fitting(leaves)
	page := api.Entries{Size: size, Entries: make([]api.Entry, len(leaves))}
	for i, leaf := range leaves {
		e, err := audit.ParseEntry(leaf)
		if err != nil {
			return outcome{}, &ledger.IntegrityError{What: "log entry " + strconv.FormatUint(p.From+uint64(i), 10)}
		}
		page.Entries[i] = api.Entry(e)
	}
	if next := p.From + uint64(len(leaves)); next < size && len(leaves) > 0 {
		page.Next = next
	}
	return outcome{Result: page}, nil
}

// auditVerify reads the whole log, page by page so that others get their turn,
// and checks every leaf, every sequence number and the head that was current
// when it began.
func auditVerify(c *call, _ *api.None) (outcome, error) {
	c.bounds()
	c.bound(logTime)
	size, root, err := c.head()
	if err != nil {
		return outcome{}, err
	}
	verdict := api.AuditVerdict{Size: size, Root: root[:]}
	err = audit.Verify(c.vault.Ledger.Leaves(c.ctx, 0, size), size, root)
	if bad, ok := errors.AsType[*audit.EntryError](err); ok {
		at := int64(bad.Seq)
		verdict.FirstBad, verdict.Reason = &at, bad.Error()
		return outcome{Result: verdict}, nil
	}
	if failure, ok := errors.AsType[*ledger.IntegrityError](err); ok {
		verdict.Reason = failure.Error()
		return outcome{Result: verdict}, nil
	}
	if errors.Is(err, audit.ErrRoot) {
		verdict.Reason = "the entries do not have the head that the root record says"
		return outcome{Result: verdict}, nil
	}
	verdict.Valid = err == nil
	return outcome{Result: verdict}, err
}

// auditExport writes the audit file in pages. The first one fixes the size and
// carries the signed checkpoint; a cursor is "from.size" in decimal.
func auditExport(c *call, p *api.ExportParams) (outcome, error) {
	if p.Cursor == "" {
		return c.exportFirst()
	}
	from, size, ok := parseCursor(p.Cursor)
	now, _, err := c.head()
	if err != nil {
		return outcome{}, err
	}
	if !ok || size > now {
		return outcome{}, invalid("/params/cursor", "not a cursor of this log; start without one")
	}
	leaves, err := c.vault.Ledger.Page(c.ctx, from, size)
	if err != nil {
		return outcome{}, err
	}
	leaves = fitting(leaves)
	text, err := audit.AppendEntries(nil, leaves)
	return outcome{Result: exportPage(text, from+uint64(len(leaves)), size)}, err
}

func (c *call) exportFirst() (outcome, error) {
	size, root, err := c.head()
	if err != nil {
		return outcome{}, err
	}
	checkpoint, err := c.vault.Checkpoint(c.ctx, size, root)
	if err != nil {
		return outcome{}, err
	}
	verifier, err := c.vault.AuditVerifier()
	if err != nil {
		return outcome{}, err
	}
	header, err := audit.AppendHeader(nil, verifier, checkpoint)
	return outcome{Result: exportPage(header, 0, size)}, err
}

func exportPage(text []byte, next, size uint64) api.ExportPage {
	page := api.ExportPage{Text: string(text)}
	if next < size {
		page.Next = strconv.FormatUint(next, 10) + "." + strconv.FormatUint(size, 10)
	}
	return page
}

func parseCursor(cursor string) (from, size uint64, ok bool) {
	a, b, _ := strings.Cut(cursor, ".")
	from, err := strconv.ParseUint(a, 10, 64)
	size, err2 := strconv.ParseUint(b, 10, 64)
	return from, size, err == nil && err2 == nil && from < size
}
