// SPDX-License-Identifier: Apache-2.0

package supervisor

// The places where a test can break a monitor: after each step that leaves
// something behind which the next one relies on.
const (
	FailpointLocked       = "monitor.locked"        // configuration read, lock held
	FailpointMounted      = "monitor.mounted"       // root file system mounted, volumes filled
	FailpointNetwork      = "monitor.network"       // addresses and ports taken
	FailpointCreated      = "monitor.created"       // container created, program not started
	FailpointStarting     = "monitor.starting"      // about to start the program
	FailpointStarted      = "monitor.started"       // running, status written, front end not told
	FailpointExited       = "monitor.exited"        // process gone, nothing written
	FailpointExitWritten  = "monitor.exit-written"  // exit.json written
	FailpointLayerRemoved = "monitor.layer-removed" // writable layer gone (AutoRemove)
	FailpointUnlocked     = "monitor.unlocked"      // runtime directory gone, nobody told
)
