package cluster

// Stranded gives what is known of containers whose engines do not answer now.
// Another manager that was started meanwhile cannot ask those engines itself,
// and may have to move the containers when it takes over.
func (c *Cluster) Stranded() []Record {
	s := c.moves
	h := s.survey()
	s.mu.Lock()
	defer s.mu.Unlock()
	stranded := []Record{}
	for _, rec := range s.records {
		if _, host := h.of(rec); host != hostAnswers {
			stranded = append(stranded, *rec)
		}
	}
	return stranded
}

// Adopt takes over what another manager says in Stranded, of containers that this
// one does not know, on engines that do not answer it either. Engines that do
// know better. It says how many that were.
func (c *Cluster) Adopt(records []Record) (n int) {
	s := c.moves
	h := s.survey()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rec := range records {
		_, host := h.of(&rec)
		if rec.ID == "" || rec.SwarmID == "" || rec.EngineID == "" || host == hostAnswers || s.records[rec.ID] != nil {
			continue
		}
		s.records[rec.ID], s.unsaved[rec.ID] = &rec, true
		n++
	}
	if n > 0 {
		s.look()
	}
	return n
}
