package deadletters

// BeforeCommit returns options that call f between what a batch sends and its commit.
func (o ReplayOptions) BeforeCommit(f func() error) ReplayOptions {
	o.beforeCommit = f
	return o
}
