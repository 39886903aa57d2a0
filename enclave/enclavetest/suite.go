package enclavetest

import "testing"

// Run runs the whole suite on a platform.
func Run(t *testing.T, p Platform) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Platform)
	}{
		{"EveryMethod", testEveryMethod},
		{"EveryRow", testEveryRow},
		{"NoVault", testNoVault},
		{"BadRequests", testBadRequests},
		{"BadParams", testBadParams},
		{"UnicodeLimits", testUnicodeLimits},
		{"JWT", testJWT},
		{"ReservedClaims", testReservedClaims},
		{"VAPID", testVAPID},
		{"VAPIDRefusals", testVAPIDRefusals},
		{"Challenge", testChallenge},
		{"Agree", testAgree},
		{"SmallOrder", testSmallOrder},
		{"PurposeSeparation", testPurposeSeparation},
		{"ConcurrentSigners", testConcurrentSigners},
		{"ListPages", testListPages},
		{"Thumbprint", testThumbprint},
		{"NoExport", testNoExport},
		{"Reload", testReload},
		{"Lost", testLost},
		{"Vanished", testVanished},
		{"SessionVault", testSessionVault},
		{"DestroyAsks", testDestroyAsks},
		{"DestroyIsBound", testDestroyIsBound},
		{"CreateCancelled", testCreateCancelled},
		{"Namespaces", testNamespaces},
		{"TwoTabs", testTwoTabs},
		{"TwoTabsDestroy", testTwoTabsDestroy},
		{"CreateOnce", testCreateOnce},
		{"Flood", testFlood},
		{"Cancel", testCancel},
		{"Audit", testAudit},
		{"AuditPages", testAuditPages},
		{"AuditLongEntries", testAuditLongEntries},
		{"RefusalsAreLogged", testRefusalsAreLogged},
		{"EveryRecordGuarded", testEveryRecordGuarded},
		{"MissingKey", testMissingKey},
		{"StorageRefuses", testStorageRefuses},
		{"HandleLost", testHandleLost},
		{"CommittedButUnanswered", testCommittedButUnanswered},
		{"WithoutShareNothingOpens", testWithoutShareNothingOpens},
		{"NothingSecretInMessages", testNothingSecretInMessages},
		{"Passphrase", testPassphrase},
		{"Slots", testSlots},
		{"ManySlots", testManySlots},
		{"SecondTab", testSecondTab},
		{"OldBlobsPutBack", testOldBlobsPutBack},
		{"StrengthIsRaised", testStrengthIsRaised},
		{"HeaderIsGuarded", testHeaderIsGuarded},
		{"Lock", testLock},
		{"LockedRefusals", testLockedRefusals},
		{"LockedSession", testLockedSession},
		{"LockUnderLoad", testLockUnderLoad},
		{"ChangeUnderLoad", testChangeUnderLoad},
		{"Assertions", testAssertions},
		{"Registrations", testRegistrations},
		{"SeveralPasskeys", testSeveralPasskeys},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, p) })
	}
}
