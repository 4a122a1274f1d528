//! More common given names, by country: those that registers of births have counted most often in the last decades, of
//! countries that `given.rs` has few of. Folded to small ASCII letters: data only.

pub(super) const GIVEN: &[&str] = &[
    // Norway, Denmark, Sweden, Iceland
    "aase age amalie ane anett anni arni arvo ase ask aslak asta aud bente bertil birgitte bjarni bjorg borge bosse brage casper cecilie christoffer \
     dagfinn ditte eigil eilif eivind elof erlend esben even evy fanny flemming folke frederik frederikke freja gorm gosta gote gro gry gudmund gudmundur \
     gun gunborg gunhild gunnel gunvor guro hakon halldor halvor hampus hasse hauk helgi henny hillevi hilma hjalmar hjordis idar ine ingalill ingebjorg \
     ingela ingvild ivar iver jakob jeppe jerker johanne jonna jorn kaia kajsa kamilla katrine kirsti kjetil klas laerke lage larke laust line linn lisen \
     liva lone lova lovise ludvig magnhild maj malene malin malou mathea melker merethe mie mikkel mille moa mogens nicklas nikoline njal oda oddvar odin \
     oivind olafur oline olle oluf osten oyvind pontus ragna ragnvald regitze rikke roald runa rurik rut seline sigridur sigurdur sigvard simen siw sixten \
     sofus solbritt solvi sondre staffan stellan stina stine sune svante svend synne synnove tage theis thora thore tilda tilde tiril tonje torgeir \
     torstein torunn tova troels ture tuva ulrik ulrikke uno vebjorn vegard vendela vilde vilja villads villy viveca ylva",
    // Finland
    "aada aarne aatu ahti ahto aila aili aimo aino aki aleksi anniina ansku antero antti anu armas arto arttu asko aulikki aune eemeli eero eetu eeva eevi \
     eija eila emmi enni erkki essi eveliina hannele hannu harri helmi helvi henna hilja hilkka iida iina iiris ilkka ilpo inari inka inkeri irja ismo \
     jaakko jaana jalmari jani janne jarkko jarmo jenni joni joona joonas jorma jouko jouni juho jukka jussi juuso kaarina kalervo kalevi katariina katri \
     kauko kerttu kimmo kyllikki kyosti laila lassi lauri leena leevi lilja lotta maire marja marjaana marjatta marjo marjut martta matleena mauno mauri \
     meeri mervi miia milla mirka mirva niilo niina niko noora ohto oili oiva olavi olli oona outi paavo pauli pentti perttu petteri piia pinja raija raili \
     raimo rauha rauno reino riikka risto ritva roosa saana saara saija saila saku salla samuli sanni santeri satu seppo siiri sini sinikka sirkka sohvi \
     soile sointu suvi taina taisto taneli tapani taru teija tellervo tero terttu tiia tiina toini tomi topi tuuli tuulikki tyyne unto urho vaino valtteri \
     veera veijo venla vesa vieno vilho ville vuokko",
    // Netherlands, Flanders
    "aafke aaltje adinda albertine aleida annemiek annet anouk ans arjen arnoud art bauke berend bouke brecht carlijn caspar christiaan corrie demi \
     diederik dinand dorien eefje eline elly elske emiel ewout fenne fien frans freek gerrie gertjan greet guusje hanneke harmen hein imke jantje jasmijn \
     jet jip job joep joke jolien joop juul koos kris laurens leen lien lies linde loes lot machteld margriet marije marjan maurits miep mies mila milou \
     myrthe noortje pim puck quirine renske rianne rinus rosalie rosanne rutger saar sjaak suze tineke tjeerd ton trijntje veerle xander",
    // Portugal, Brazil
    "adalberto adelino adriano agostinho alcides alda aldair almir altair aluisio alzira americo anabela antonieta aparecida ariane arlete arlindo armindo \
     augusta benedito bento breno caetana cicero cleber cleide conceicao constanca cristiane dalila dinis dirceu domingos edilson edivaldo edmilson \
     elisabete elza emanuela estevao evandro fabiano filomena gilmar gilson giovana graca gracinda graziela helio hermano ilda iolanda israel ivone izabel \
     jair janaina jaqueline jurema katia kaua laurinda lilia lucelia luciene lucilia lurdes mafalda maiara maisa mara marilia martinho mayara micaela \
     moacir natercia neusa nilton noemia odete olinda orlando priscila raimundo regiane reginaldo rosana rosangela rosilene rosimeire rubens samara \
     sebastiao stefany suelen tais terezinha thais thalita valdir vanda viriato viviane wallace wanderley washington wilson zelia zilda",
    // Mexico, Central and South America
    "aide alondra anahi aranza arlette azucena balam braulio brisa candelario citlali citlalli citlaly cristal cuauhtemoc damaris dayana elba eleazar elvia \
     eunice everardo ezequiel gael genaro genesis gibran hermelinda horacio idalia irais irasema itzayana itzel ivette ixchel ixtli janeth jazmin jhon \
     johana kenia lariza lesly lizbeth lizeth lucero lucina magaly malinali mariel marlen mayra melany mireya monserrat nahomi nallely nayeli nayely nelly \
     oswaldo oziel raymundo rosalba sagrario sarai tlaloc tonatiuh uriel vianey viridiana yadira yahir yamileth yareli yaretzi yazmin yesenia yolotl \
     yuliana yuridia zulema",
    // Spain, with its other languages
    "adria agurtzane aina aizpea alaitz aleix ander antia anxo arantxa arantza arnau asier benat bernat biel brais breixo carles carme dolors eduard edurne \
     eloi enara endika eneko enric eritz eudald francesc garazi gorka guillem haizea hug ibai ibon idoia ikerne imanol inigo irati iria irune itxaso izan \
     izaro jaume jokin jone josep josu julen kepa kerman koldo laia lander lluc lluis lorea maddi maialen maider maitane malen manel manoel mariona markel \
     marti maruxa mateu meritxell mikel miquel miren montse nagore nahia naia naiara nekane neus oier oihan oihana oihane olaia oleguer pau pere pol \
     queralt quim rafel roc roser sabela saioa sergi sira sonsoles tirso txema unai unax urko uxia uxoa uxue vega xabat xabi xabier xavi xoan xurxo yeray \
     yoana zigor zurine",
    // Italy
    "agnese alvise ambrogio aniello annarita arianna asia assunta attilio brunella carlotta carmine catia cira domenica efisio elettra elia enrica enza \
     ercole felice fiorenza flaminia fulvia gaetana giacinta giancarlo gianna gilda ginevra gioia giordana giordano giuditta giuseppa giusy graziana \
     ignazio imma immacolata iole isotta italo ivano jacopo lodovico lorella loris lucrezia luigia manlio mariangela marianna mariarosaria mariella \
     marilena mascia mikaela milo mimmo monia morgana natale niccolo nunzia nunzio oliviero ombretta orietta orsola ottavia pasqualina piera piercarlo \
     pierfrancesco pierpaolo pino raimondo remo rino romano rosanna rosetta rossano rossella samuele silvano tommaso tonia valentino ylenia",
    // France, Belgium, Quebec
    "aglae alban albane alexia alienor alizee ambre ambroise anatole angele apolline aristide armel armelle axelle aymeric barnabe basile blandine brice \
     brieuc camelia cassandre celestin celian clea clementine cleo clothilde coline come constant coralie corentin cyprien cyriaque cyrielle cyril dany \
     daphne delphine dimitri dorian doriane edmee elea eliette eliott elisabeth eloane eloise elouan elvire emeric enora erwan erwann ewen faustine flavie \
     flavien flore floriane gabin garance gaspard gauthier gislaine gwenael gwenaelle gwendal gwendoline gwenola hadrien heloise honorine ilan jeremie \
     jocelyne josselin karine killian kylian lana laurine leandre leane leontine lilian liliane lilou lison loane loann lou louane louann louanne louison \
     louka louna loup luce ludivine ludovic mael maelle maelys maeva magali malo marceau margaux mariette marilou marilyne marlon mathis mathys mattheo \
     maxence mayeul melina meline meryl mickael morgane muriel myriam nadege naelle naomie nathanael ninon noam noeline nolan nolwenn octave olympe \
     ombeline ondine orlane pascaline perrine philomene pierrick prune raphaelle regine rodolphe romane rosaline sacha sasha segolene servane sidonie \
     simeon sixte sixtine sofiane soizic solene solenn soline swann sylvaine tanguy tia tifenn timeo timothe titouan tugdual ulysse urbain ursule vanina \
     vianney vivien xaviere yael yanis yannis ysee yvan yvon zelie zephyr",
    // United Kingdom, Ireland, Australia, New Zealand, South Africa, North America
    "aaliyah addison aiden ainsley alaina alannah aleah alfie alistair alysha annalise annelie anthea aoife archer archie aria arlo asher ashton athena \
     audrina ayden banjo bella blair bodhi bongani bonny braden bradyn braxton brayden brielle brodie bronte bronwyn brynn bryony caden cadence cairo \
     callie camden cara carys cassidy cayden ceri charli cian ciaran cillian clancy colton conall connell cormac cullen darcey darcy darragh dashiell \
     deacon declan deirdre delilah delyth diarmuid donal dougal dulcie eabha eamon eden edie effie eimear eithne eleri ellery elna ember emerson emmett \
     emrys eoghan eoin esme euan everett everly evie ewan ezra farrah fergus finlay finley finnegan flynn fraser gethin gracie grainne greer griffin gwen \
     gwyneth hadley hamish harlow harper hattie henrietta hettie hudson indi india indiana indie iolo iona isla jago jaiden jarrah jaxon jayden jemima jett \
     josie jude juno kaden kagiso kaiya kasey kayden keanu keeley keira kiera kieron kirra koa kobe kora kyla kyra lachie lachlan lainey landon leilani \
     lerato lexi lila lilah linc lochlan lorcan lottie lyla lyra maddison madelyn maeve mahalia maia maisie maisy malachi mali mattie mckenzie merryn micah \
     mikayla millie minnie morag muireann myla nate nell nerys nevaeh niall niamh nixon nokuthula nova oisin olive oran orla orlaith osian oti otis paddy \
     paisley pearse percy peyton philippa phoenix piper pippa posy quinn rafe rafferty ralphie reagan reggie reuben rhiannon rhoda rhona riaan roisin \
     romilly rowan roxanne rufus sadie saffron sage saoirse sawyer scarlett seamus seren shanaya shania shiloh sian sienna sinead siobhan skye skyla tadhg \
     tahlia talia talulah tamsin tarquin tate teagan teddy tegan thalia tiana tiernan tilly torin tyla tyson una wilbur wilf willa willow wren xanthe \
     ysabel zac zander zane zara zayn ziggy zion zola",
    // Turkey
    "ahsen akif alim alp alparslan alperen arif asaf asiye asude ata atilla atiye ayberk aybuke ayca aydan aydin ayla aysenur aytac azad azra banu baran \
     barbaros batuhan bedirhan begum behiye belma bengisu beren beril berkant berna berrin betul beyza bilge bilgehan bora buket burcin busranur canberk \
     cemre cevat ceyda ceyhun ceylan cigdem cihangir cinar damla defne demet derin didem dilan dilara doga doruk ecrin eda efsun ege egemen ekin elanur \
     elcin elifnaz emir emirhan enes ensar eray erkin ertan ertugrul esen eser eylul eymen ezgi faik faruk fatmanur feyza fidan firat gokay goksel gonca \
     gorkem gozde gulden guler gulhan gulnur gulsum gurkan guven halide halit haluk handan hatun havva haydar hazal hilal hurrem husamettin idil ihsan \
     ilayda inci ipek isil iskender jale kamuran kazim kerim kezban koray kubilay kursat lale latife lerzan lutfi mahir makbule meliha meltem memduh merih \
     metehan miray muge muharrem munevver nalan naz nazim nebahat necdet necmi nese nevzat nihan nil nilay nisa nisanur nuran nurdan nurettin nurhan nuriye \
     nusret olcay onder orcun ozay ozden ozkan ozturk pakize perihan pervin poyraz rahmi refik reyhan riza rumeysa rustem ruya sabahat saban safak safiye \
     sahin samet sanem sare sebnem sedef selahattin selcan selda semiha sena senem seref serefnur serenay serhan serife seyfettin seyhan sezen sezer sezgin \
     sila simge sude suheda sumeyye sura suzan taha tahir tahsin talha tarkan taylan tayyip temel tufan tugrul tulin tuna tunahan turhan ulas ulku umran \
     usame utku vedat vural yagiz yagmur yaman yelda yildiray zahide zulal",
    // Czechia, Slovakia
    "alzbeta anezka antonie arnost bedrich blazena bohumil bohumila bohuslav bohuslava borivoj bretislav bronislav cestmir ctirad dita drahomir drahomira \
     evzen frantiska hedvika honza hynek iva iveta ivona jaromir jaroslava jindrich jindriska jolana kristyna krystof kveta kvetoslava lada leona leos \
     libuse lubomir lubomira ludek ludvik lumir marketa matous matyas milada miloslava miluse mojmir nela nikol otakar oto patricie pavla premysl radko \
     radovan rozalie ruzena sarka slavka slavomir sona stela stepan stepanka svatava sylva tadeas tatana vendula viktorie vilem vit vitezslav vladimira \
     vlastimil vlastimila vratislav zbysek zdena zofie zora",
    // Poland
    "aniela antonina bartlomiej bogumil bogumila boguslawa borys bronislawa cecylia czeslawa dawid elwira feliks franciszka gustaw henryka iga ignacy iwo \
     iza jagoda jedrzej judyta julita juliusz kajetan kalina kazimiera kornel ksawery lilianna lucja ludwik ludwika maksymilian malwina marcelina marlena \
     martyna maryla matylda michalina mieczyslaw mieczyslawa milosz miroslawa natan nikodem oktawia oliwier otylia pola roch roksana romuald rozalia \
     ryszarda seweryn stanislawa szczepan tobiasz tola tymon tymoteusz urszula violetta walenty wiktor wiktoria wioletta wladyslawa wojtek zbyszek \
     zdzislawa",
    // India, Pakistan, Bangladesh, Sri Lanka
    "aadhya aaradhya aarush aaryan aayush abhay abhijeet abhijit abhilash abhinav abhishek adarsh advait advaith advik afreen aishwarya akanksha alka aman \
     amandeep amar amarjeet ambika ameya amish amitabh amrit anagha aniket anirudh anju ankur anmol annapurna anshul anushka anvi anwesha aparajita apoorva \
     archit arihant arindam arnab arpit arpita arshad arushi arya asif asmita atharv atul avani avni ayaan ayush baldev balwinder bhagya bharati bhaskar \
     bhavana bhavesh bhumika bhupinder bijoy bindu bipin brijesh chaitanya chaminda chandan chandni chandrakant charan charu chinmay chirag daksh damini \
     darshan debashish deepali deepti devansh devika dhanush dharmendra diksha dilani dilip dipika disha diya ekta eshan farzana gagan gauri gautam gurmeet \
     gurpreet hardik hari harini harsha harshad harshit himanshu hitesh indu ishita jahnavi jasmeet jaspreet jayanti jignesh juhi kabir kalyani kanika \
     karuna kashish kaushik kavitha keerthana ketan kirti kritika kumari kush lakshman lalit latha lavanya leela lokesh madhav madhavi mahendra malati \
     mamta manas mandeep maneesh mangesh manpreet mansi mayank mayur medha meenakshi megha meghana mohini mukta mukul muthu nadeem nagesh naina namrata \
     narayan naveed navya niharika nimisha nirav nitya nusrat nuwan omkar paresh parvati pavan pawan payal piyush prabhakar pragya pranjal prasanna \
     pratibha praveen prerna pritam priti purnima pushpa radhika raghu rajat rajeshwari rajiv rajkumar rameshwar ratan renuka reyansh richa riddhi ridhi \
     rishabh rishi ritesh ritika riya rohini roshan roshni rukhsana rukmini rupali sadhana sadia sahil sai saima sakshi samarth sameer sampath sanchita \
     sanduni sangita sanjana sanjiv sankalp sapna sarala saroj sarthak satyam shabana shabnam shahid shakti shalini sharmila shashank shikha shivam \
     shraddha shreyas siddhi sitara smriti snehal somnath sonam sourav sowmya srinivas srishti sugandha suhas sujata sukanya sumanth sunanda surabhi \
     sushant sushila swapnil swara tanmay tanuja tejas tejaswini tharindu trisha tulsi umair upendra urvashi usman utkarsh uttam vaibhav vaishali vanita \
     vasudha vedant venkatesh vibha vihaan vijaya vimala vinayak viraj virat vivaan waqar yashwant yogita zoya",
];
