package enclave

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/audit"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/store"
	"github.com/kms-enclave/kms-enclave/vault"
)

// The mirror: what the app keeps of a vault, for browsers that do not. See package
// vault (mirror.go, return.go) for what it is and what is believed of it.

// mirrorPage is how many bytes of records and names one reply carries at most, unless it is one
// record: in base64 and JSON they are well below api.MaxMessage.
const mirrorPage = 384 << 10

// errOtherVault: a mirror of another vault than the one that was seen.
var errOtherVault = errors.New("enclave: a mirror of another vault")

func mirrorChanges(c *call, _ *api.None) (outcome, error) {
	now, changes, more, err := c.vaults.Changes(c.ctx, mirrorPage)
	if err != nil {
		return outcome{}, err
	}
	result := api.MirrorChanges{Vault: now.Instance, Commit: int64(now.Commit), Opens: now.Opens, Changes: make([]api.MirrorChange, len(changes)), More: more}
	for i, change := range changes {
		removed := make([]string, len(change.Removed))
		for j, name := range change.Removed {
			removed[j] = mirrorName(name)
		}
		result.Changes[i] = api.MirrorChange{From: int64(change.From), To: int64(change.To), Put: mirrorRecordsOf(change.Put), Removed: removed}
	}
	return outcome{Result: result}, nil
}

func mirrorRecords(c *call, p *api.MirrorRecordsParams) (outcome, error) {
	var after store.Name
	if p.After != "" {
		var ok bool
		if after, ok = parseMirrorName(p.After); !ok {
			return outcome{}, invalid("/params/after", "the last name of an earlier page wanted")
		}
	}
	now, page, more, err := c.vaults.Records(c.ctx, after, mirrorPage)
	if err != nil {
		return outcome{}, err
	}
	return outcome{Result: api.MirrorRecords{Vault: now.Instance, Commit: int64(now.Commit), Records: mirrorRecordsOf(page), More: more}}, nil
}

func mirrorRecordsOf(records []store.Record) []api.MirrorRecord {
	shown := make([]api.MirrorRecord, len(records))
	for i, r := range records {
		shown[i] = api.MirrorRecord{Name: mirrorName(r.Name), Value: r.Value}
	}
	return shown
}

func mirrorName(n store.Name) string { return n.Kind + "/" + n.ID }

func parseMirrorName(s string) (store.Name, bool) {
	kind, id, _ := strings.Cut(s, "/")
	n := store.Name{Kind: kind, ID: id}
	return n, n.Check() == nil
}

func mirrorOffer(c *call, p *api.MirrorOfferParams) (outcome, error) {
	records := make([]store.Record, len(p.Records))
	for i, r := range p.Records {
		name, ok := parseMirrorName(r.Name)
		if !ok {
			return outcome{}, invalid("/params/records", "record %d: not a name that mirror.records gives", i)
		}
		records[i] = store.Record{Name: name, Value: r.Value}
	}
	return outcome{Result: api.None{}}, c.vaults.Offer(c.ctx, p.First, records)
}

// mirrorRestore has the user open what the app kept, and bring it back. What it is,
// and how it differs from what was seen here, is shown before anything is written.
func mirrorRestore(c *call, p *api.MirrorRestoreParams) (outcome, error) {
	if failure := checkSeen(p.Seen); failure != nil {
		return outcome{}, failure
	}
	var since audit.Frontier
	var err error
	if len(p.Since) > 0 {
		if since, err = audit.ParseFrontier(p.Since); err != nil {
			return outcome{}, invalid("/params/since", "not what audit.consistent returned")
		}
	}
	if err := c.vaults.Room(c.ctx, vault.Creation{Persistence: vault.PersistDevice, From: &vault.Backup{}}); err != nil {
		return outcome{}, err
	}
	back, err := c.vaults.OpenReturn(c.ctx)
	if err != nil {
		return outcome{}, err
	}
	defer back.Close(c.whole)
	way, _, _, err := c.unlockBy(back.Vault, prompt.Unlock{App: c.app(), Return: true})
	if err != nil {
		return outcome{}, err
	}
	c.progress("checking")
	found, err := back.Open(c.ctx, way)
	if err != nil {
		return outcome{}, err
	}
	if p.Seen.Vault != "" && p.Seen.Vault != found.Lineage {
		return outcome{}, errOtherVault
	}
	screen := prompt.Return{
		App: c.app(), At: found.At, Lock: back.Lock(), Keys: found.Keys, Damaged: found.Damaged, Entries: found.Entries, Gap: found.Gap != nil,
		Missing: since.Size() - min(since.Size(), found.Entries),
	}
	continues, err := c.continues(back, since, found.Entries)
	if err != nil {
		return outcome{}, err
	}
	screen.Older = !continues || found.Epoch < p.Seen.Epoch
	screen.Unknown = p.Seen.Vault == "" || since.Size() == 0
	if screen.Deleted, err = c.vaults.Deleted(c.ctx, back); err != nil {
		return outcome{}, err
	}
	if err := c.acceptReturn(screen); err != nil {
		return outcome{}, err
	}
	c.progress("writing")
	report, err := c.vaults.Return(c.ctx, back, audit.Entry{
		Method: c.row.Method, Origin: c.cfg.Origin, Outcome: "ok", Details: c.returnDetails(way.Slot, screen),
	})
	if err != nil {
		return outcome{}, err
	}
	c.untold = 0 // they are in that entry
	c.watch(report.Lock, time.Duration(report.Idle)*time.Second)
	c.notify("unlocked", nil)
	c.done(prompt.Done{What: c.row.Method, Keys: found.Keys})
	return outcome{Result: statusOf(report)}, nil
}

// continues reports whether the log that came back continues the one that was seen.
func (c *call) continues(back *vault.Return, since audit.Frontier, size uint64) (bool, error) {
	switch {
	case since.Size() == 0:
		return true, nil // nothing was seen
	case since.Size() > size:
		return false, nil
	}
	now, err := back.Head(c.ctx)
	if err != nil {
		return false, err
	}
	for leaf, err := range back.Ledger.Leaves(c.ctx, since.Size(), size) {
		if err != nil {
			return false, c.ctx.Err() // what cannot be read proves nothing
		}
		since.Append(audit.LeafHash(leaf))
	}
	return since.Root() == now, nil
}

// acceptReturn shows what came back. What is older than what was seen takes a typed word, and so
// does what the app says nothing of, what has not all of its log, and what the user has deleted.
func (c *call) acceptReturn(screen prompt.Return) error {
	if screen.Older || screen.Unknown || screen.Gap || screen.Deleted {
		screen.Word = prompt.WordYes
	}
	for {
		answer, err := c.askFor(prompt.ChoiceConfirm, screen)
		if err != nil {
			return err
		}
		if answer.Word == screen.Word {
			return nil
		}
		screen.Problem = &prompt.Problem{Code: prompt.WordWrong}
	}
}

func (c *call) returnDetails(by vault.Slot, screen prompt.Return) map[string]string {
	details := slotDetails(by)
	details["keys"] = strconv.Itoa(screen.Keys)
	for name, n := range map[string]uint64{"damaged": uint64(screen.Damaged), "missing": screen.Missing, "tries": uint64(c.untold)} {
		if n > 0 {
			details[name] = strconv.FormatUint(n, 10)
		}
	}
	for name, is := range map[string]bool{"older": screen.Older, "unknown": screen.Unknown, "gap": screen.Gap, "deleted": screen.Deleted} {
		if is {
			details[name] = "yes"
		}
	}
	return details
}
