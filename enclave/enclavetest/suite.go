package enclavetest

import "testing"

type test struct {
	name string
	run  func(*testing.T, Platform)
}

// Run runs the suite on a platform: all of it where that is memory.
func Run(t *testing.T, p Platform) {
	tests := []test{
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
		{"DestroyedByAnother", testDestroyedByAnother},
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
		{"Consistent", testConsistent},
		{"ConsistentAcrossPages", testConsistentAcrossPages},
		{"AuditPages", testAuditPages},
		{"AuditLongEntries", testAuditLongEntries},
		{"RefusalsAreLogged", testRefusalsAreLogged},
		{"MissingKey", testMissingKey},
		{"StorageRefuses", testStorageRefuses},
		{"Full", testFull},
		{"HandleLost", testHandleLost},
		{"CommittedButUnanswered", testCommittedButUnanswered},
		{"WithoutShareNothingOpens", testWithoutShareNothingOpens},
		{"NothingSecretInMessages", testNothingSecretInMessages},
		{"Passphrase", testPassphrase},
		{"Slots", testSlots},
		{"ManySlots", testManySlots},
		{"SecondTab", testSecondTab},
		{"ChangedMeanwhile", testChangedMeanwhile},
		{"OldBlobsPutBack", testOldBlobsPutBack},
		{"StrengthIsRaised", testStrengthIsRaised},
		{"HeaderIsGuarded", testHeaderIsGuarded},
		{"Lock", testLock},
		{"LockedRefusals", testLockedRefusals},
		{"LockedSession", testLockedSession},
		{"LockUnderLoad", testLockUnderLoad},
		{"ChangeUnderLoad", testChangeUnderLoad},
		{"BehindAChange", testBehindAChange},
		{"EnableRecovery", testEnableRecovery},
		{"UnlockByPhrase", testUnlockByPhrase},
		{"CheckRecovery", testCheckRecovery},
		{"Restore", testRestore},
		{"RestoreElsewhere", testRestoreElsewhere},
		{"RestoreLost", testRestoreLost},
		{"BadBackups", testBadBackups},
		{"RestoreStorageFails", testRestoreStorageFails},
		{"SaveBesideWrites", testSaveBesideWrites},
		{"BackupLeaks", testBackupLeaks},
		{"MirrorFollows", testMirrorFollows},
		{"MirrorRestores", testMirrorRestores},
		{"MirrorOlder", testMirrorOlder},
		{"MirrorDeleted", testMirrorDeleted},
		{"NoMirror", testNoMirror},
		{"Rotate", testRotate},
		{"RotateChain", testRotateChain},
		{"Revoke", testRevoke},
		{"RotateStorageFails", testRotateStorageFails},
		{"RotateOnce", testRotateOnce},
		{"Activity", testActivity},
		{"Manage", testManage},
		{"Assertions", testAssertions},
		{"Registrations", testRegistrations},
		{"SeveralPasskeys", testSeveralPasskeys},
	}
	if p.Memory {
		tests = append(tests, []test{
			{"EveryRecordGuarded", testEveryRecordGuarded},
			{"MirrorForged", testMirrorForged},
			{"MirrorOffers", testMirrorOffers},
		}...)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, p) })
	}
}
