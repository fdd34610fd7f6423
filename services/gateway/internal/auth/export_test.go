package auth

// Forget is what a revocation does.
var Forget = (*Auth).forget
