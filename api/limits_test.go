package api_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kms-enclave/kms-enclave/api"
	"github.com/kms-enclave/kms-enclave/lease"
)

// TestTagsHoldTheLimits: a tag cannot name a constant, so the limit stands in two
// places; here they are compared.
func TestTagsHoldTheLimits(t *testing.T) {
	for _, test := range []struct {
		params any
		field  string
		rule   string
		limit  int
	}{
		{api.CreateKeyParams{}, "Label", "chars", api.MaxLabel},
		{api.ListKeysParams{}, "Limit", "max", api.MaxPageKeys},
		{api.EntriesParams{}, "Limit", "max", api.MaxPageAudit},
		{api.SignJWTParams{}, "TTLSeconds", "max", api.MaxJWTTTL},
		{api.VAPIDParams{}, "TTLSeconds", "max", api.MaxLeaseTTL},
		{api.VAPIDParams{}, "Count", "max", api.MaxTokens},
		{api.RelayTokenParams{}, "TTLSeconds", "max", api.MaxLeaseTTL},
		{api.GrantLeaseParams{}, "LifeSeconds", "min", lease.MinLife},
		{api.GrantLeaseParams{}, "LifeSeconds", "max", lease.MaxLife},
		{api.GrantLeaseParams{}, "TokenSeconds", "min", lease.MinToken},
		{api.GrantLeaseParams{}, "TokenSeconds", "max", lease.MaxToken},
		{api.GrantLeaseParams{}, "PerHour", "max", lease.MaxHour},
		{api.GrantLeaseParams{}, "PerDay", "max", lease.MaxDay},
		{api.RenewLeaseParams{}, "LifeSeconds", "min", lease.MinLife},
		{api.RenewLeaseParams{}, "LifeSeconds", "max", lease.MaxLife},
		{api.SignChallengeParams{}, "Context", "max", api.MaxContext},
		{api.VerifyChallengeParams{}, "Context", "max", api.MaxContext},
		{api.AgreeParams{}, "Context", "max", api.MaxContext},
		{api.SignChallengeParams{}, "Data", "max", api.MaxData},
		{api.VerifyChallengeParams{}, "Data", "max", api.MaxData},
		{api.CreateVaultParams{}, "IdleSeconds", "min", api.MinIdle},
		{api.CreateVaultParams{}, "IdleSeconds", "max", api.MaxIdle},
		{api.RestoreParams{}, "IdleSeconds", "min", api.MinIdle},
		{api.RestoreParams{}, "IdleSeconds", "max", api.MaxIdle},
		{api.AddSlotParams{}, "Label", "chars", api.MaxLabel},
		{api.RevokeParams{}, "Reason", "chars", api.MaxReason},
	} {
		params := reflect.TypeOf(test.params)
		field, _ := params.FieldByName(test.field)
		rules := strings.Split(field.Tag.Get("check"), ",")
		if want := fmt.Sprintf("%s=%d", test.rule, test.limit); !slices.Contains(rules, want) {
			t.Errorf("%s.%s has the rules %q, without %s", params.Name(), test.field, rules, want)
		}
	}
}
