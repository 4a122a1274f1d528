-- Every value that must not be seen in clear. Of an e-mail address the part that says who it is.
SELECT name, split_part(email, '@', 1), phone, ssn, tax_id, salary, birth_date FROM people
UNION ALL SELECT card_number, NULL, NULL, NULL, NULL, NULL, NULL FROM cards
UNION ALL SELECT password, convert_from(api_key, 'UTF8'), NULL, NULL, NULL, NULL, NULL FROM accounts
UNION ALL SELECT diagnosis, NULL, NULL, NULL, NULL, NULL, NULL FROM patients
UNION ALL SELECT 'bystanders own words 7319', NULL, NULL, NULL, NULL, NULL, NULL;
