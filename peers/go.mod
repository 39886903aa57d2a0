// Comparisons with other implementations of the same standards, apart from the product because of
// what they need.
module github.com/kms-enclave/kms-enclave/peers

go 1.27.3

require (
	github.com/SherClockHolmes/webpush-go v1.4.0
	github.com/kms-enclave/kms-enclave v0.0.0
)

require (
	github.com/golang-jwt/jwt/v5 v5.2.1 // indirect
	golang.org/x/crypto v0.59.0 // indirect
)

replace github.com/kms-enclave/kms-enclave => ../
