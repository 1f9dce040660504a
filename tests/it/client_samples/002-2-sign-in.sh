curl --request POST \
--url https://api.example.com/api/v1/auths/sign-in \
--header 'Content-Type: application/json' \
--data '
{
"email": "<string>",
"username": "<string>",
"password": "<string>"
}
'
