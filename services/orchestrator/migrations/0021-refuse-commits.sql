-- breaking: no
-- A COMMIT that leaves together with the statements before it cannot wait for anybody to look at their results: what must hold, the
-- database asserts by itself. The state says what did not (store/refusals.ts).

CREATE FUNCTION refuse_unless(holds boolean, state text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF holds IS NOT TRUE THEN
    RAISE EXCEPTION 'the transaction must not be stored' USING ERRCODE = state;
  END IF;
END
$$;
