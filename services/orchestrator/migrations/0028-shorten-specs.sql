-- breaking: yes (the version before misses what specs leave out: stop it before this one starts)
-- Every task has a spec, and most say the same but for their names: what is empty and the usual retry policy are left out, 170 of 290 bytes
-- that were read, checked, logged and stored for each. What was stored before stays as it was.
COMMENT ON COLUMN tasks.spec IS 'Without what most tasks say alike (store/spec-row.ts). What SQL asks for is always there: scheduleToStartMs.';
