package enclave

import (
	"cmp"
	"encoding/json/jsontext"
	"errors"
	"strconv"
	"strings"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/lease"
	"github.com/kms-enclave/kms-enclave/prompt"
	"github.com/kms-enclave/kms-enclave/vault"
)

// pushTokens gives tokens under a lease, whose time they go by.
func (c *call) pushTokens(p *api.VAPIDParams, claims tokenClaims) (outcome, error) {
	out, tokens, err := c.leasedTokens(claims, lease.Use{Count: max(p.Count, 1)})
	if err != nil {
		return outcome{}, err
	}
	if p.KID != "" && p.KID != out.KID {
		out.Pending.drop()
		return outcome{}, invalid("/params/kid", "another key than the lease's; leave it out")
	}
	out.Finish = func() (any, error) {
		return api.PushTokens{Token: tokens[0].Token, Exp: tokens[0].Exp, JTI: tokens[0].JTI, More: tokens[1:]}, nil
	}
	return out, nil
}

func tokenRelay(c *call, p *api.RelayTokenParams) (outcome, error) {
	// The relay's own rule for ids, so that no token names what it cannot have.
	if strings.Trim(p.Subscription, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return outcome{}, invalid("/params/subscription", "characters of base64url wanted")
	}
	claims := tokenClaims{
		Type: typRelay, Subject: p.Subscription, TTL: p.TTLSeconds,
		Extra: map[string]jsontext.Value{"scope": jsontext.Value(strconv.Quote(p.Scope))},
	}
	out, tokens, err := c.leasedTokens(claims, lease.Use{Relay: true, Count: 1})
	if err != nil {
		return outcome{}, err
	}
	out.Details["scope"] = p.Scope
	out.Finish = func() (any, error) { return tokens[0], nil }
	return out, nil
}

// leasedTokens begins to sign tokens under the call's lease. Whether that covers them is
// asked here, so that nothing is signed in vain, and decided when they are committed.
func (c *call) leasedTokens(claims tokenClaims, use lease.Use) (outcome, []api.Token, error) {
	l, s, now, err := c.vault.LeaseSigner(c.ctx, c.lease)
	if errors.Is(err, lease.ErrExpired) {
		c.running.Go(func() { c.sweep(c.vault) })
	}
	if err != nil {
		return outcome{}, nil, err
	}
	if use.Relay {
		claims.Audience = l.Relay
	}
	use.Audience, use.Expires = claims.Audience, now+claims.TTL
	if err := l.Allows(use, now); err != nil {
		return outcome{}, nil, err
	}
	tokens, pending, err := c.signTokens(s, now, claims, use.Count)
	if err != nil {
		return outcome{}, nil, err
	}
	ids := make([]string, len(tokens))
	for i := range tokens {
		ids[i] = tokens[i].JTI
	}
	return outcome{
		KID: s.KID, Apply: vault.UseLease(l.ID, use), Pending: pending,
		Details: map[string]string{"aud": claims.Audience, "jti": strings.Join(ids, " ")},
	}, tokens, nil
}

// sweep deletes what expired leases have left.
func (e *Enclave) sweep(v *vault.Vault) {
	ctx, cancel := e.deadlines.WithTimeout(e.ctx, machineTime, errTimeout)
	defer cancel()
	_ = v.SweepLeases(ctx) // the next one will do, too
}

func leaseList(c *call, _ *api.None) (outcome, error) {
	b, now, err := c.vault.Leases(c.ctx)
	if err != nil {
		return outcome{}, err
	}
	list := api.LeaseList{Leases: make([]api.Lease, len(b.Leases))}
	list.LastHour, list.LastDay = b.Counts(now)
	over := false
	for i, l := range b.Leases {
		list.Leases[i] = showLease(l, b.Now(now))
		over = over || list.Leases[i].State == "expired"
	}
	if over {
		c.running.Go(func() { c.sweep(c.vault) })
	}
	return outcome{Result: list}, nil
}

func showLease(l lease.Lease, now int64) api.Lease {
	states := map[error]string{nil: "running", lease.ErrExpired: "expired", lease.ErrEnded: "ended"}
	return api.Lease{
		ID: l.ID, KID: l.KID, Relay: l.Relay, Service: l.Service, State: states[l.Runs(now)],
		GrantedAt: l.GrantedAt, ExpiresAt: l.ExpiresAt, Until: l.Until(), EndedAt: l.EndedAt, Reason: string(l.Why),
		TokenSeconds: l.Token, PerHour: l.PerHour, PerDay: l.PerDay,
		PushTokens: l.PushTokens, RelayTokens: l.RelayTokens, Refused: l.Refused, LastUsedAt: l.LastUsedAt,
	}
}

// terms are what a grant asks for.
func terms(p *api.GrantLeaseParams) (t lease.Terms, life int64, failure *api.Error) {
	t = lease.Terms{
		KID: p.KID, Token: cmp.Or(p.TokenSeconds, lease.DefaultToken),
		PerHour: cmp.Or(p.PerHour, lease.DefaultHour), PerDay: cmp.Or(p.PerDay, lease.DefaultDay),
	}
	if t.Relay, failure = relayOrigin(p.Relay); failure == nil {
		t.Service, failure = endpointOrigin(p.Endpoint)
	}
	return t, cmp.Or(p.LifeSeconds, lease.DefaultLife), failure
}

// describeGrant tries the grant on what is there now: the user is not asked for what fails anyway.
func describeGrant(c *call, p *api.GrantLeaseParams) (prompt.Confirm, error) {
	t, life, failure := terms(p)
	if failure != nil {
		return prompt.Confirm{}, failure
	}
	if !c.vault.KeepsLeases() {
		return prompt.Confirm{}, vault.ErrNoLeases
	}
	k, err := c.vault.Key(c.ctx, p.KID)
	switch {
	case err != nil:
		return prompt.Confirm{}, err
	case k.Purpose != vault.VAPID:
		return prompt.Confirm{}, errorf(api.Denied, "a key for %s is not for a relay; use one for vapid", k.Purpose)
	case k.State != vault.Active:
		return prompt.Confirm{}, vault.ErrInactive
	}
	b, now, err := c.vault.Leases(c.ctx)
	if err != nil {
		return prompt.Confirm{}, err
	}
	l, err := b.Grant("", t, life, now)
	if err != nil {
		return prompt.Confirm{}, err
	}
	return prompt.Confirm{Lease: leaseFact(*l)}, nil
}

func leaseFact(l lease.Lease) *prompt.LeaseFact {
	return &prompt.LeaseFact{
		Relay: l.Relay, Service: l.Service, GrantedAt: l.GrantedAt, ExpiresAt: l.ExpiresAt, TokenSeconds: l.Token,
		PerHour: l.PerHour, PerDay: l.PerDay, Tokens: l.PushTokens, LastUsedAt: l.LastUsedAt,
	}
}

func leaseGrant(c *call, p *api.GrantLeaseParams) (outcome, error) {
	t, life, failure := terms(p)
	if failure != nil {
		return outcome{}, failure
	}
	granted := &lease.Lease{}
	id, apply, err := c.vault.GrantLease(c.ctx, t, life, granted)
	return outcome{
		KID: p.KID, Lease: id, Apply: apply, Details: map[string]string{"relay": t.Relay, "service": t.Service, "seconds": strconv.FormatInt(life, 10)},
		Finish: func() (any, error) { return leaseResult(granted), nil },
	}, err
}

func leaseResult(l *lease.Lease) api.LeaseResult {
	return api.LeaseResult{Lease: showLease(*l, max(l.GrantedAt, l.LastUsedAt))}
}

// describeLease shows a lease as it would be after a change.
func (c *call) describeLease(id string, change func(b *lease.Book, now int64) error) (prompt.Confirm, error) {
	b, now, err := c.vault.Leases(c.ctx)
	if err == nil {
		err = change(b, now)
	}
	if err != nil {
		return prompt.Confirm{}, err
	}
	l, err := b.Find(id)
	if err != nil {
		return prompt.Confirm{}, err
	}
	return prompt.Confirm{Lease: leaseFact(*l)}, nil
}

func describeRenew(c *call, p *api.RenewLeaseParams) (prompt.Confirm, error) {
	return c.describeLease(p.Lease, func(b *lease.Book, now int64) error {
		_, err := b.Renew(p.Lease, cmp.Or(p.LifeSeconds, lease.DefaultLife), now)
		return err
	})
}

func leaseRenew(c *call, p *api.RenewLeaseParams) (outcome, error) {
	life := cmp.Or(p.LifeSeconds, lease.DefaultLife)
	renewed := &lease.Lease{}
	return outcome{
		Lease: p.Lease, Details: map[string]string{"seconds": strconv.FormatInt(life, 10)},
		Apply: vault.ChangeLeases(func(b *lease.Book, now int64) error {
			l, err := b.Renew(p.Lease, life, now)
			if err == nil {
				*renewed = *l
			}
			return err
		}),
		Finish: func() (any, error) { return leaseResult(renewed), nil },
	}, nil
}

func describeEnd(c *call, p *api.LeaseParams) (prompt.Confirm, error) {
	return c.describeLease(p.Lease, func(*lease.Book, int64) error { return nil })
}

// leaseRevoke ends a lease, and with it its key: the push service takes nothing of that key once the
// app has given up the subscription.
func leaseRevoke(c *call, p *api.LeaseParams) (outcome, error) {
	b, _, err := c.vault.Leases(c.ctx)
	if err != nil {
		return outcome{}, err
	}
	l, err := b.Find(p.Lease)
	if err != nil {
		return outcome{}, err
	}
	ended, kid := &lease.Lease{}, l.KID
	return outcome{
		KID: kid, Lease: p.Lease, Apply: vault.RevokeLease(p.Lease, ended), Details: map[string]string{"relay": l.Relay},
		Finish: func() (any, error) {
			c.vault.Drop(kid)
			return leaseResult(ended), nil
		},
	}, nil
}
