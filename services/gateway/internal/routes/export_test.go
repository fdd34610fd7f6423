package routes

// Weight is the share in thousandths.
func (c *Canary) Weight() int32 { return c.weight }
