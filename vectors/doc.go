// Package vectors runs the test vectors of Project Wycheproof, at a pinned
// commit, through keyengine.Engine: through package native in an ordinary test, and
// through package webcrypto in a test binary for js/wasm.
//
//	go test -tags kmstest .
//	GOOS=js GOARCH=wasm go test -tags kmstest -c .
//
// The files in testdata are the module's own, byte for byte (the native test
// compares), under its licence, which lies beside them.
//
// The vectors are written by people who have nothing to do with either
// engine, and aim at the mistakes that implementations have made. Vectors for
// parameters that no engine offers (AES keys of 128 bits, say) are counted and
// left out; every file says how many ran, and one of which none ran fails.
//
// Tokens that the enclave signs are verified here, too, with a JWT library that
// many servers use.
//
// Key bytes enter through ImportAEADForTest and ImportSecretForTest, which
// exist with the tag kmstest only, and from there as a browser's storage would
// bring them in: sealed, and unwrapped.
package vectors
