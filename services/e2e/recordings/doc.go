// Package recordings keeps what the API answers: the conversations in testdata are
// held with the real gateway, registry and secrets-broker, and each answer must be
// the one that is written there.
//
// What the rooms behind those do is not its business: a scheduler and a telemetry
// room stand in that do as a conversation tells them.
package recordings
