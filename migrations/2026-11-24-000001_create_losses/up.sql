CREATE TABLE losses (
    incarnation text NOT NULL,
    first bigint NOT NULL CHECK (first > 0),
    last bigint CHECK (last >= first),
    reason text NOT NULL,
    actor text NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (incarnation, first)
);
COMMENT ON TABLE losses IS 'Raw events that Redis forgot before they were settled, and that a person has accepted as lost. Only ever appended to.';
COMMENT ON COLUMN losses.first IS 'With last: these numbers of the incarnation, both included. Those among them that have a receipt all the same are not lost.';
COMMENT ON COLUMN losses.last IS 'Null where nobody knows how far the numbers of the incarnation went: first and all above it.';
COMMENT ON COLUMN losses.reason IS 'Why they were given up, in that person''s words.';
